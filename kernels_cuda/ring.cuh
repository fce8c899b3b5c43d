/* Where in a ring of COUNT stages: a stage, and the parity of the phase that its barriers are in. */
template <int COUNT> struct RingPlace {
    int stage;
    uint parity;
    FN void advance() {
        if (++stage == COUNT) {
            stage = 0;
            parity ^= 1u;
        }
    }
};
