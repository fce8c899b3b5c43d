#include "common/scatter_elements.h"
