// A library of something else.
extern "C" int gone_number();
extern "C" int gone_number() { return 0; }
