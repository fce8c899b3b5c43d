#include "common/conv_winograd.h"
