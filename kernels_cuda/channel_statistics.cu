#include "common/channel_statistics.h"
