// libcuda.so.1 without a GPU, for the C library: that of tests/fake_driver, asked whether its
// stream is done, and a way for the fake TensorRT to put work on it.
#include "../fake_driver/fake_cuda.cpp"

// Every question finds one more piece of work done.
API int cuStreamQuery(void*) {
    BEGIN();
    if (stream.empty()) return OK;
    auto work = stream.front();
    stream.pop_front();
    work();
    return 600;
}

API void fake_enqueue(const std::function<void()>* work) {
    std::lock_guard<std::mutex> lock(mutex);
    stream.push_back(*work);
}
