#include "common/pointwise.h"
