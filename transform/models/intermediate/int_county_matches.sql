with

counties as (

    select * from {{ ref('stg_census_counties') }}

),

code_changes as (

    select * from {{ ref('int_county_code_changes') }}

),

-- Census Bureau, "Substantial Changes to Counties and County Equivalent Entities: 1970-Present":
-- the changes before 2009 and after the map (2017).
other_codes (reported_county_fips, county_fips) as (

    values
    -- Later than the map: Valdez-Cordova, Alaska, was split into Chugach and Copper River (2019).
    ('02063', '02261'),
    ('02066', '02261'),
    -- Later than the map: Connecticut's nine planning regions (2022), with the counties that have
    -- towns in them.
    ('09110', '09003'), -- Capitol
    ('09110', '09013'),
    ('09120', '09001'), -- Greater Bridgeport
    ('09130', '09007'), -- Lower Connecticut River Valley
    ('09130', '09011'),
    ('09140', '09009'), -- Naugatuck Valley
    ('09140', '09005'),
    ('09140', '09003'),
    ('09140', '09001'),
    ('09150', '09015'), -- Northeastern Connecticut
    ('09150', '09013'),
    ('09150', '09011'),
    ('09160', '09005'), -- Northwest Hills
    ('09160', '09003'),
    ('09170', '09009'), -- South Central Connecticut
    ('09180', '09011'), -- Southeastern Connecticut
    ('09180', '09015'),
    ('09190', '09001'), -- Western Connecticut
    ('09190', '09005'),
    -- Earlier: the smaller parts of areas split in Alaska (2007, 2008).
    ('02201', '02130'), -- Prince of Wales-Outer Ketchikan
    ('02201', '02275'),
    ('02232', '02230'), -- Skagway-Hoonah-Angoon
    ('02280', '02198'), -- Wrangell-Petersburg
    ('02280', '02275'),
    -- Earlier: renamed counties, and counties merged into a neighbor.
    ('12025', '12086'), -- Dade, now Miami-Dade, Florida (1997)
    ('30113', '30031'), -- Yellowstone National Park, Montana (1997)
    ('30113', '30067'),
    ('46131', '46071'), -- Washabaugh, South Dakota (1979)
    ('51123', '51800'), -- Nansemond, Virginia (1974)
    ('51560', '51005'), -- Clifton Forge city, Virginia (2001)
    ('51780', '51083') -- South Boston city, Virginia (1995)

),

other_matches as (

    select
        old_county_fips as reported_county_fips,
        new_county_fips as county_fips
    from code_changes
    union
    select * from other_codes

),

county_matches as (

    select
        county_fips as reported_county_fips,
        county_fips,
        true as is_same_code
    from counties
    union all
    select
        other_matches.reported_county_fips,
        other_matches.county_fips,
        false as is_same_code
    from other_matches
    inner join counties as successors on other_matches.county_fips = successors.county_fips
    left join counties as namesakes
        on other_matches.reported_county_fips = namesakes.county_fips
    where namesakes.county_fips is null

)

select * from county_matches
