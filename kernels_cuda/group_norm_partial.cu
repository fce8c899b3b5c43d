#include "common/group_norm_partial.h"
