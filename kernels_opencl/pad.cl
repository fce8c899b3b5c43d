#include "common/pad.h"
