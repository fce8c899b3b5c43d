#include "common/roi_align.h"
