/**
 * Random programs on the adapter by kernels with workgroup memory, which a software adapter takes twice as long to
 * compile: 500, and a thousand in `npm run test:full`. Two in three have a product, attention or long rows, for which
 * there are such kernels.
 */
import { declareDeviceTests } from "./programs/device_tests.js";

const full = process.env["DEITC_FULL"] !== undefined;
declareDeviceTests([{ family: "tiled", programs: full ? 1000 : 500, tiled: full ? 600 : 300 }]);
