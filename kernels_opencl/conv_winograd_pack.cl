#include "common/conv_winograd_pack.h"
