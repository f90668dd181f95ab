# How the stand-in libraries are compiled and linked; `build` calls it.

CXX ?= c++
OBJECTS = $(FOLDER)/objects
FLAGS = -std=c++20 -O2 -fPIC -MMD -Wall -Wextra -Wno-missing-field-initializers -fvisibility=default -I$(HERE)/shim
# Sums of the large loops may use what this processor has; the libraries are not for others.
FAST = -O3 -march=native
# What CUDA's code does; its compilers let it read words as other types.
KERNEL = -Wno-unused -Wno-sign-compare -Wno-unused-parameter -Wno-unknown-pragmas -ffp-contract=off -fno-strict-aliasing -I$(CANDLE)

DRIVER = $(patsubst $(HERE)/driver/%.cpp,driver_%,$(wildcard $(HERE)/driver/*.cpp))
KERNELS = $(patsubst $(OBJECTS)/%.cpp,%,$(wildcard $(OBJECTS)/kernels_*.cpp))

cuda = $(DRIVER) $(KERNELS)
cudnn = library_cudnn library_backend library_finalize library_convolution library_attention library_composed
cublas = library_cublas library_convolution
cublasLt =
curand = library_curand
nvrtc = library_nvrtc source
cudart =
libraries = cuda.1 cudnn.9 cublas.13 cublasLt.13 curand.10 nvrtc.13 cudart.13

all: $(foreach library,$(libraries),$(FOLDER)/lib/lib$(basename $(library)).so) $(FOLDER)/bin/faults

$(FOLDER)/bin/faults: $(HERE)/tests/faults.cpp $(FOLDER)/lib/libcuda.so
	$(CXX) $(FLAGS) -o $@ $< -L$(FOLDER)/lib -lcuda

$(OBJECTS)/driver_%.o: $(HERE)/driver/%.cpp
	$(CXX) $(FLAGS) -c -o $@ $<
$(OBJECTS)/library_%.o: $(HERE)/libraries/%.cpp
	$(CXX) $(FLAGS) $(FAST) -c -o $@ $<
$(OBJECTS)/kernels_%.o: $(OBJECTS)/kernels_%.cpp
	$(CXX) $(FLAGS) $(KERNEL) -c -o $@ $<
$(OBJECTS)/%.o: $(OBJECTS)/%.cpp
	$(CXX) $(FLAGS) -c -o $@ $<
$(OBJECTS)/absent_cudart.cpp:
	touch $@

define link
$(FOLDER)/lib/lib$(1).so: $(patsubst %,$(OBJECTS)/%.o,$($(1)) absent_$(1)) $(if $(filter cuda,$(1)),,$(FOLDER)/lib/libcuda.so)
	$(CXX) -shared -o $(FOLDER)/lib/lib$(1).so.$(2) -Wl,-soname,lib$(1).so.$(2) $(patsubst %,$(OBJECTS)/%.o,$($(1)) absent_$(1)) \
	    $(if $(filter cuda,$(1)),,$(FOLDER)/lib/libcuda.so)
	ln -sf lib$(1).so.$(2) $$@
endef
$(foreach library,$(libraries),$(eval $(call link,$(basename $(library)),$(patsubst .%,%,$(suffix $(library))))))

$(wildcard $(OBJECTS)/*.o): $(HERE)/rules.mk
-include $(wildcard $(OBJECTS)/*.d)
