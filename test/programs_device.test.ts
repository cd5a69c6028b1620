/**
 * A thousand random programs on the adapter by kernels without workgroup memory; `programs_tiled.test.ts` has the
 * others.
 */
import { declareDeviceTests } from "./programs/device_tests.js";

declareDeviceTests([{ family: "scalar", programs: 1000 }, { family: "wide", programs: 1000 }]);
