#include "common/cumulate.h"
