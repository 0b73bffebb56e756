export { type Upload, type Uploader, type UploaderOptions, createUploader } from "./uploader.ts";
