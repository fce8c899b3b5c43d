#include "common/gather_nd.h"
