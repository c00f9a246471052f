"""Exchange networks with other projects: recognise and convert their files, export programs."""
