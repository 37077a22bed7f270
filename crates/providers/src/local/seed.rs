//! The NoCloud seed: a small disk with the user-data, as cloud-init wants it.

use std::{io::Cursor, sync::Arc};

use hadris_iso::{
    joliet::JolietLevel,
    read::PathSeparator,
    rrip::RripOptions,
    write::{
        File, InputFiles, IsoImageWriter,
        options::{BaseIsoLevel, CreationFeatures, IsoFormatOptions},
    },
};

use super::error::LocalError;

/// Returns the image of the seed disk of a box of that name. It holds the box's private host key.
pub(crate) fn image(instance_id: &str, name: &str, user_data: &str) -> Result<Vec<u8>, LocalError> {
    let meta_data = format!("instance-id: {instance_id}\nlocal-hostname: {name}\n");
    let file = |name: &str, contents: &str| File::File {
        name: Arc::new(name.to_owned()),
        contents: contents.as_bytes().to_vec(),
    };
    let files = InputFiles {
        path_separator: PathSeparator::ForwardSlash,
        files: vec![file("user-data", user_data), file("meta-data", &meta_data)],
    };
    let mut image = Cursor::new(Vec::new());
    IsoImageWriter::create(&mut image, files, options())
        .map_err(|e| LocalError::system("make the seed disk", format!("{e:?}")))?;
    Ok(image.into_inner())
}

fn options() -> IsoFormatOptions {
    IsoFormatOptions {
        volume_name: "cidata".to_owned(),
        system_id: None,
        volume_set_id: None,
        publisher_id: None,
        preparer_id: None,
        application_id: None,
        sector_size: 2048,
        path_separator: PathSeparator::ForwardSlash,
        features: CreationFeatures {
            filenames: BaseIsoLevel::Level1 {
                supports_lowercase: false,
                supports_rrip: true,
            },
            long_filenames: false,
            joliet: Some(JolietLevel::Level3),
            rock_ridge: Some(RripOptions::default()),
            el_torito: None,
            hybrid_boot: None,
        },
        strict_charset: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_volume_cidata_with_both_files() {
        let image = image("t-77", "b1", "#cloud-config\nhostname: b1\n").unwrap();
        assert_eq!(&image[0x8001..0x8006], b"CD001");
        assert_eq!(&image[0x8028..0x802e], b"cidata");
        let text = String::from_utf8_lossy(&image);
        assert!(text.contains("#cloud-config\nhostname: b1\n"));
        assert!(text.contains("instance-id: t-77\nlocal-hostname: b1\n"));
    }
}
