#include "common/attention_gradient_kv.h"
