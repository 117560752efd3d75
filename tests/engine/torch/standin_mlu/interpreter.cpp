// What libpython holds: data of the interpreter.
extern "C" {
extern int standin_interpreter;
int standin_interpreter = 1;
}
