#include "common/conv.h"
