#include "common/attention.h"
