/* The RESULTS values of an element.  All of them are there before the first is stored, so that a result may lie where an
 * operand is read at the same element.
 *
 * EACH_RESULT(f): f(T, y, r0) f(T1, y1, r1) ..., the dtype variable, the buffer and the variable of each; RESULTS_OF(BODY,
 * v, coords...) sets the variables. */
#define DECLARE(T, b, r) T##_r r;
#define PUT(T, b, r) T##_store(b, AT(b), r);
/* one more expansion, so that several coordinates in one macro are several arguments by the time BODY sees them */
#define RESULTS_CALL(f, ...) f(__VA_ARGS__)
#if RESULTS == 1
#define EACH_RESULT(f) f(T, y, r0)
#define RESULTS_OF(...) r0 = RESULTS_CALL(__VA_ARGS__);
#elif RESULTS == 2
#define EACH_RESULT(f) f(T, y, r0) f(T1, y1, r1)
#define RESULTS_OF(...) r0 = RESULTS_CALL(__VA_ARGS__, r1);
#elif RESULTS == 3
#define EACH_RESULT(f) f(T, y, r0) f(T1, y1, r1) f(T2, y2, r2)
#define RESULTS_OF(...) r0 = RESULTS_CALL(__VA_ARGS__, r1, r2);
#else
#define EACH_RESULT(f) f(T, y, r0) f(T1, y1, r1) f(T2, y2, r2) f(T3, y3, r3)
#define RESULTS_OF(...) r0 = RESULTS_CALL(__VA_ARGS__, r1, r2, r3);
#endif
