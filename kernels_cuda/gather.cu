#include "common/gather.h"
