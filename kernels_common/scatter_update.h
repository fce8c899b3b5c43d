/* One update of an element, by the reductions' numbers: 0 none, 1 add, 2 mul, 3 max, 4 min. */
FN T_r scatter_update(T_r old, T_r value, int reduction) {
    switch (reduction) {
        case 1: return old + value;
        case 2: return old * value;
        case 3: return a_max(old, value);
        case 4: return a_min(old, value);
        default: return value;
    }
}
