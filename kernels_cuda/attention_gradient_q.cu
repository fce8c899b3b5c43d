#include "common/attention_gradient_q.h"
