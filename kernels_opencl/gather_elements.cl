#include "common/gather_elements.h"
