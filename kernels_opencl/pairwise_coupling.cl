#include "common/pairwise_coupling.h"
