#include "common/scatter_nd.h"
