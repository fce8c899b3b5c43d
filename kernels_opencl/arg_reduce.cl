#include "common/arg_reduce.h"
