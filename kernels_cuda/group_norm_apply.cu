#include "common/group_norm_apply.h"
