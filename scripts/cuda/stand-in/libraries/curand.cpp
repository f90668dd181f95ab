// cuRAND: generators can be made, since candle makes one for each device, and generate nothing.

extern "C" {
int curandCreateGenerator(void **generator, int) { return *generator = new int, 0; }
int curandDestroyGenerator(void *generator) {
    delete (int *)generator;
    return 0;
}
int curandSetStream(void *, void *) { return 0; }
int curandSetPseudoRandomGeneratorSeed(void *, unsigned long long) { return 0; }
int curandSetGeneratorOffset(void *, unsigned long long) { return 0; }
}
