#include "common/transpose.h"
