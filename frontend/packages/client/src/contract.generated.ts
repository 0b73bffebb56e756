/** The data of each event, by its name. A platform adds its own by declaration merging. */
export interface EventData {
  "essay.slot.assigned": {
    batch_id: string;
    essay_id: string;
    file_upload_id: string;
    text_storage_id: string;
    original_file_name?: string;
  };
  "essay.validation.failed": {
    batch_id: string;
    file_upload_id: string;
    original_file_name: string;
    error_code: string;
    message: string;
  };
}
