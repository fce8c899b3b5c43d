#include "common/sum_pairs.h"
