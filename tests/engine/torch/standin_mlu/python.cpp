// A part for Python: data of libpython and of libtorch_python must be there when it is loaded.
extern "C" int standin_interpreter;
extern "C" int* standin_torch_python;

extern "C" int standin_mlu_python();
extern "C" int standin_mlu_python() { return *standin_torch_python + standin_interpreter; }
