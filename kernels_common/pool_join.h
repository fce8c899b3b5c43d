/* What a pooling window has so far, joined with its next value: the larger one or any NaN, or the sum. */
#define POOL_JOIN(a, v) (average ? (a) + (v) : (((v) > (a)) | ((v) != (v))) ? (v) : (a))
