import process from "process/browser";
import { Buffer } from "buffer/";

export { process, Buffer };
