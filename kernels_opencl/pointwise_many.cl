#include "common/pointwise_many.h"
