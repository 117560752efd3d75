// A library that brings LibTorch no devices.
extern "C" int standin_mlu_no_device();
extern "C" int standin_mlu_no_device() { return 0; }
