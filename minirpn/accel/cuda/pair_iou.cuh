// IoU of two boxes (4,): the operations of pair_iou in iou.py, in the same order, each rounded by
// itself (see OPTIONS in _load.py), so that both give the same bits.
__device__ inline real pair_iou(const real* a, const real* b) {
    real width = least(a[2], b[2]) - most(a[0], b[0]);
    real height = least(a[3], b[3]) - most(a[1], b[1]);
    if (width <= 0 || height <= 0) return 0;
    real shared = width * height;
    if (shared == 0) return 0;  // two positive sides whose product is too small for the type
    real area_a = (a[2] - a[0]) * (a[3] - a[1]);
    real area_b = (b[2] - b[0]) * (b[3] - b[1]);
    return shared / (area_a + area_b - shared);
}
