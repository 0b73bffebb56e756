import type { Upload, Uploader } from "@doorstep/client/upload";
import { useSyncExternalStore } from "react";

/** All uploads of a page. */
export function useUploads(uploader: Uploader): readonly Upload[] {
  return useSyncExternalStore(uploader.subscribe, uploader.uploads, uploader.uploads);
}
