#include "common/channel_sums_partial.h"
