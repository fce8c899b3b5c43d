#include "common/scatter_rows.h"
