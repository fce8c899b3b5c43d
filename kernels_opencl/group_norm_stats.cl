#include "common/group_norm_stats.h"
