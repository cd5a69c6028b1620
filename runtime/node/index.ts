/** @file The runtime in Node (`deitc/runtime`): what generated modules and the programs that use them need. */
export * from "../index.js";
export { listAdapters, openAdapter, openDevice } from "./adapters.js";
export type { AdapterListing, AdapterOptions, AdapterReport, AdapterType } from "./adapters.js";
export { load, openModule } from "./module.js";
export type { LoadOptions } from "./module.js";
