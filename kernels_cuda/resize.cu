#include "common/resize.h"
