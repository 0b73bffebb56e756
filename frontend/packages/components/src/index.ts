export { Announcer } from "./Announcer.tsx";
export { BatchOverview, type BatchOverviewProps } from "./BatchOverview.tsx";
export { ConnectionStatus } from "./ConnectionStatus.tsx";
export { FileErrors } from "./FileErrors.tsx";
export { FilePicker } from "./FilePicker.tsx";
export { UploadList, useUploads } from "./UploadList.tsx";
export { filesOfDrop } from "./drop.ts";
export { type Row, rowsOf } from "./rows.ts";
export { newsOf, sentenceOf, summaryOf } from "./sentences.ts";
