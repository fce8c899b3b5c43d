#include "common/pool_max_index.h"
