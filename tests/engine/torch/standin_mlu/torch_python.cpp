// What libtorch_python holds: data that lead to the interpreter's.
extern "C" {
extern int standin_interpreter;
extern int* standin_torch_python;
int* standin_torch_python = &standin_interpreter;
}
