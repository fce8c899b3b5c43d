#include "common/cross_entropy.h"
