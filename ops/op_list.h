// Every operator, once, by alphabet: PARE_OP(Name) is row kName, defined in the file of its family.
// A row here without a definition is a link error; tests/check_layers.py finds the reverse.
PARE_OP(Relu)
